from service import answer

assert "&lt;b&gt;" in answer("/<b>"), answer("/<b>")
assert answer("/").startswith("<p>hello world</p>")
print("2 checks passed")
