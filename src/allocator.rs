//! Memory that is freed is wiped.
//!
//! [`Zeroizing`](zeroize::Zeroizing) wipes the copies of a secret that we make. This wipes those
//! that others make on the way: a string that grows, serde's scratch space, wasm-bindgen's passing
//! of text. After an answer, no copy of a secret is left in Wasm memory.

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);
