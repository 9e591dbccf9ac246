//! The cases.
use super::{Case, SynicUnderTest, Violation};
pub(super) const ALL: &[Case] = &[];
pub(super) fn prepare(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    synic.guest_enable()
}
