//! The whole path: an agent's program, the engine as it ships, a stateful Gmail.

mod peers;
