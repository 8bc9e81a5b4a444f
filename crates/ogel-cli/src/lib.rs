//! The ogel command.
