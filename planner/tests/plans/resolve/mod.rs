//! From a syntax tree to a graph that can be lowered, with images made up by the caller.

use rbuild_parser::Dockerfile;
use rbuild_planner::{ImageRequest, PlanError, PlanOptions, ResolvedGraph, ResolvedImage, select};

/// Selects a file's stages; `image` answers for every image they need.
pub(crate) fn resolved(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    image: &dyn Fn(&ImageRequest) -> ResolvedImage,
) -> Result<ResolvedGraph, PlanError> {
    let mut graph = select(dockerfile.clone(), options)?;
    loop {
        graph = match graph.finish() {
            Ok(resolved) => return Ok(resolved),
            Err(graph) => {
                let requests = graph.unresolved();
                assert!(!requests.is_empty(), "an unfinished graph must ask for something");
                let answers = requests.into_iter().map(|request| {
                    let answer = image(&request);
                    (request, answer)
                });
                graph.resolve(answers.collect())?
            }
        };
    }
}
