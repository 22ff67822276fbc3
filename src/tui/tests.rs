//! The screens as they look, and what happens to them.
