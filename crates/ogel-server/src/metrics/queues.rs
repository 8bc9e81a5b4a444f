//! How the queues of work stand, in Prometheus' text format. Read from the database at each scrape, so it is the same on
//! every replica.

use chrono::{DateTime, Utc};
use ogel_api::admin::Queue;
use ogel_store::QueueFigures;
use std::fmt::Write as _;

/// Adds to the page `/metrics`. Every queue has its lines, also one without jobs: alerts must not depend on absence.
pub(crate) fn render_queues(page: &mut String, queues: &[QueueFigures], now: DateTime<Utc>) {
    let of = |queue: Queue| queues.iter().find(|figures| figures.queue == queue);
    let jobs = "ogel_work_jobs";
    let _ = writeln!(page, "# HELP {jobs} Jobs by queue: waiting, in work at a replica, dead.\n# TYPE {jobs} gauge");
    for queue in Queue::ALL {
        let (waiting, running, dead) = of(*queue).map_or((0, 0, 0), |known| (known.waiting, known.leased, known.dead));
        for (state, count) in [("waiting", waiting), ("running", running), ("dead", dead)] {
            let _ = writeln!(page, "{jobs}{{queue=\"{queue}\",state=\"{state}\"}} {count}");
        }
    }
    let late = "ogel_work_oldest_overdue_seconds";
    let _ = writeln!(page, "# HELP {late} How long the oldest waiting job has been due.\n# TYPE {late} gauge");
    for queue in Queue::ALL {
        let since = of(*queue).and_then(|known| known.oldest_due_at);
        let seconds = since.map_or(0, |at| (now - at).num_seconds().max(0));
        let _ = writeln!(page, "{late}{{queue=\"{queue}\"}} {seconds}");
    }
}
