//! Every test with every instruction set.

use crate::common::assert_right_with_every_instruction_set;

#[test]
fn right_with_every_instruction_set() {
    assert_right_with_every_instruction_set("right_with_every_instruction_set");
}
