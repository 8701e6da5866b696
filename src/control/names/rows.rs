//! What a name gives, for people: classes and types that are given the same stand in one row.

use crate::control::names::report::ClassReport;

/// What several classes get for several types.
#[derive(Debug)]
pub struct AnswerRow<'r> {
    /// Of each type.
    pub types: Vec<&'r str>,
    /// By each class.
    pub classes: Vec<&'r str>,
    /// One of the reports, which are alike but for class, type, and the data of the records.
    pub of: &'r ClassReport,
}

/// The rows of a name, in the order of its reports.
pub fn merged(reports: &[ClassReport]) -> Vec<AnswerRow<'_>> {
    let mut of_type: Vec<AnswerRow<'_>> = Vec::new();
    for report in reports {
        let same = of_type.iter_mut().find(|row| row.of.rtype == report.rtype && is_alike(row.of, report));
        match same {
            Some(row) => row.classes.push(&report.class),
            None => of_type.push(AnswerRow { types: vec![&report.rtype], classes: vec![&report.class], of: report }),
        }
    }
    let mut merged: Vec<AnswerRow<'_>> = Vec::new();
    for row in of_type {
        match merged.iter_mut().find(|known| known.classes == row.classes && is_alike(known.of, row.of)) {
            Some(known) => known.types.extend(row.types),
            None => merged.push(row),
        }
    }
    merged
}

/// Whether two classes are given the same endpoints in the same way.
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
