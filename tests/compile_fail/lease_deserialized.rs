// E0277

use latch_core::lease::Lease;

fn read<T: serde::de::DeserializeOwned>() {}

fn main() {
    read::<Lease>();
}
