//! The answers of a name as rows for people: classes and types with the same answer share a row.

use crate::control::names::report::ClassReport;

/// The answer that several classes get for several types.
#[derive(Debug)]
pub struct AnswerRow<'r> {
    /// The types.
    pub types: Vec<&'r str>,
    /// The classes.
    pub classes: Vec<&'r str>,
    /// One of the merge reports. The others differ only in class, type and the data of the records.
    pub report: &'r ClassReport,
}

/// The rows of a name, in the order of its reports.
pub fn merge(reports: &[ClassReport]) -> Vec<AnswerRow<'_>> {
    let mut of_type: Vec<AnswerRow<'_>> = Vec::new();
    for report in reports {
        let same = of_type.iter_mut().find(|row| row.report.rtype == report.rtype && is_alike(row.report, report));
        match same {
            Some(row) => row.classes.push(&report.class),
            None => of_type.push(AnswerRow { types: vec![&report.rtype], classes: vec![&report.class], report }),
        }
    }
    let mut merged: Vec<AnswerRow<'_>> = Vec::new();
    for row in of_type {
        match merged.iter_mut().find(|known| known.classes == row.classes && is_alike(known.report, row.report)) {
            Some(known) => known.types.extend(row.types),
            None => merged.push(row),
        }
    }
    merged
}

/// Whether two reports have the same endpoints with the same shares.
fn is_alike(one: &ClassReport, other: &ClassReport) -> bool {
    let answers = |report: &ClassReport| {
        let each = report.answers.iter().map(|answer| {
            let data = if answer.endpoint.is_none() { answer.rdata.clone() } else { String::new() };
            (answer.endpoint.clone(), data, (answer.probability * 1000.0).round() as u32)
        });
        each.collect::<Vec<_>>()
    };
    (&one.gives, &one.from, one.preferred) == (&other.gives, &other.from, other.preferred)
        && answers(one) == answers(other)
}
