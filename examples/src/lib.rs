//! Programs that embed the node: see `src/bin`.
