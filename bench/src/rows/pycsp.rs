//! PyCSP, which times itself: what a communication costs there, its interpreter included.

use super::python::ask_script;
use super::{Goal, Row};
use crate::groups::CSP_COMMSTIME;

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &CSP_COMMSTIME,
        name: "PyCSP: four threads",
        goal: Goal::Look,
        measure: |plan| ask_script(SCRIPT, "threads", plan),
    },
    Row {
        group: &CSP_COMMSTIME,
        name: "PyCSP: four processes",
        goal: Goal::Look,
        measure: |plan| ask_script(SCRIPT, "processes", plan),
    },
];

const SCRIPT: &str = include_str!("pycsp.py");
