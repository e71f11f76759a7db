//! Nothing: the tests are the example. See `tests/`.
