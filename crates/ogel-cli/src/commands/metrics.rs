//! `ogel metrics`: a day's figures, for operators.

use crate::{Context, Result, args::MetricsArgs, table};
use ogel_api::metrics::DailyMetrics;

pub(crate) async fn run(context: &Context, args: MetricsArgs) -> Result {
    let client = context.client()?;
    let mut days = Vec::new();
    for resource in &args.resource {
        let day = client.get_metrics(resource, args.date.as_deref()).await;
        days.push(day.map_err(|error| context.explain(error))?);
    }
    if context.output.json {
        return context.output.json(&days);
    }
    let rows: Vec<_> = days.iter().map(row).collect();
    context.output.data(&table::render(&["RESOURCE", "DAY", "REQUESTS", "2XX", "3XX", "4XX", "5XX", "AVERAGE"], &rows))
}

fn row(day: &DailyMetrics) -> Vec<String> {
    let of = |class: char| day.statuses.iter().filter(|(status, _)| status.starts_with(class)).map(|(_, n)| n).sum();
    let classes: [u64; 4] = ['2', '3', '4', '5'].map(of);
    #[expect(clippy::cast_precision_loss, reason = "for people, to a tenth of a millisecond")]
    let average =
        if day.total == 0 { "-".to_owned() } else { format!("{:.1} ms", day.total_duration_ms / day.total as f64) };
    let head = [day.resource.clone(), day.date.clone(), day.total.to_string()];
    head.into_iter().chain(classes.map(|count| count.to_string())).chain([average]).collect()
}
