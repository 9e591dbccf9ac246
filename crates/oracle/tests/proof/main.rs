//! The oracle against a naive model that knows every pixel: neither invents damage nor misses any.

mod definitions;
mod naive;
mod omissions;
mod random;
mod rig;
