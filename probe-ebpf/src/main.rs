//! The eBPF programs of probe: one entry point per hook and kind of frame, in [`programs`].
//!
//! A program reads one frame and counts it ([`account`]); it never changes, holds or drops one.
//! Whatever happens, XDP answers `XDP_PASS` and TC `TC_ACT_UNSPEC`, so the frame goes on as if no
//! program were there.
//!
//! Built for the BPF target by `cargo xtask build-ebpf`. On the host it compiles to a program that
//! does nothing, so that `cargo build --workspace` works; the feature `lint` compiles it for clippy.
//! The names of programs and maps are those of [`probe_common::control`].

#![cfg_attr(any(target_arch = "bpf", feature = "lint"), no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![deny(unsafe_code)]

#[cfg(any(target_arch = "bpf", feature = "lint"))]
mod account;
#[cfg(any(target_arch = "bpf", feature = "lint"))]
mod cache;
#[cfg(any(target_arch = "bpf", feature = "lint"))]
mod maps;
#[cfg(any(target_arch = "bpf", feature = "lint"))]
mod packet;
#[cfg(any(target_arch = "bpf", feature = "lint"))]
mod programs;

#[cfg(not(any(target_arch = "bpf", feature = "lint")))]
fn main() {}
