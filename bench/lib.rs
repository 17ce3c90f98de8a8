//! Benchmarks of rbuild's hot functions (`benches/`) and, beside them, the side-by-side measurements of whole commands
//! (`harness/`). Nothing here is in the product.

#![forbid(unsafe_code)]
