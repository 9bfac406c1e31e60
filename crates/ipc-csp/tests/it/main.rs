//! What users see of channels, choice and composition, within one process and with children.

mod channels;
mod choice;
