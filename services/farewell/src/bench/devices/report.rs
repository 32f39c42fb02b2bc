//! The figures, with the method that made them.

use serde_json::{Value, json};

use crate::bench::as_f64;
use crate::bench::driver::Shape;
use crate::bench::meter::Cost;
use crate::output::{Output, Rows};

/// What attached devices cost a process, in bytes each.
#[derive(Clone, Debug)]
pub struct Memory {
    pub process: &'static str,
    pub idle: f64,
    /// After orders and answers.
    pub after: f64,
}

impl Memory {
    /// From what the process held before they came, when they were there, and at the end, in MiB.
    pub fn of(process: &'static str, devices: usize, [before, idle, after]: [f64; 3]) -> Self {
        let devices = as_f64(u64::try_from(devices).unwrap_or(u64::MAX));
        let each = |mebibytes: f64| (mebibytes - before) * 1_048_576.0 / devices;
        Self {
            process,
            idle: each(idle),
            after: each(after),
        }
    }
}

/// What the bare transport did.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Devices that attached a second.
    pub attach: f64,
    pub memory: Memory,
    /// Orders to their last answer.
    pub shape: Shape,
}

/// Everything that was measured of a transport.
#[derive(Clone, Debug)]
pub struct Figures {
    pub transport: &'static str,
    pub method: String,
    pub replicas: usize,
    pub devices: usize,
    /// Devices of one account.
    pub each: usize,
    pub in_flight: usize,
    /// Devices that attached a second.
    pub attach: f64,
    pub memory: Vec<Memory>,
    /// Deletions of whole accounts.
    pub alone: Shape,
    pub half_load: Shape,
    pub saturated: Shape,
    /// For 1,000 orders.
    pub costs: Vec<Cost>,
    /// None where the broker is the agent's own.
    pub raw: Option<Raw>,
}

impl Figures {
    /// Orders that were delivered and acknowledged a second.
    fn orders(&self, shape: &Shape) -> f64 {
        shape.per_second() * as_f64(u64::try_from(self.each).unwrap_or(u64::MAX))
    }

    /// How near the whole job comes to the bare transport.
    fn ratio(&self) -> Option<f64> {
        let raw = self.raw.as_ref()?;
        Some(self.orders(&self.saturated) / raw.shape.per_second())
    }
}

/// Prints the figures as asked, and the method that made them.
pub fn print(figures: &[Figures], output: Output) -> anyhow::Result<()> {
    for figures in figures {
        eprintln!("{}", figures.method);
    }
    let value: Vec<_> = figures.iter().map(value).collect();
    let tables: Vec<_> = figures.iter().flat_map(tables).collect();
    output.write(&json!({"transports": value}), &tables)
}

fn value(figures: &Figures) -> Value {
    let shape = |shape: &Shape| {
        json!({
            "orders_per_second": figures.orders(shape),
            "deletion_p50_ms": shape.p50_ms,
            "deletion_p99_ms": shape.p99_ms,
        })
    };
    let memory = |memory: &Memory| {
        json!({
            "process": memory.process,
            "bytes_per_device_idle": memory.idle,
            "bytes_per_device_after": memory.after,
        })
    };
    let cost = |cost: &Cost| {
        json!({
            "process": cost.process,
            "cpu_seconds_per_thousand_orders": cost.cpu_seconds_per_thousand,
            "peak_mebibytes": cost.peak_mebibytes,
        })
    };
    json!({
        "transport": figures.transport,
        "method": figures.method,
        "devices": figures.devices,
        "replicas": figures.replicas,
        "in_flight": figures.in_flight,
        "attached_per_second": figures.attach,
        "memory": figures.memory.iter().map(memory).collect::<Vec<_>>(),
        "saturated": shape(&figures.saturated),
        "half_load": shape(&figures.half_load),
        "one_at_a_time": shape(&figures.alone),
        "costs": figures.costs.iter().map(cost).collect::<Vec<_>>(),
        "bare": figures.raw.as_ref().map(|raw| json!({
            "orders_per_second": raw.shape.per_second(),
            "p50_ms": raw.shape.p50_ms,
            "p99_ms": raw.shape.p99_ms,
            "attached_per_second": raw.attach,
            "memory": memory(&raw.memory),
        })),
        "ratio_to_bare": figures.ratio(),
    })
}

fn tables(figures: &Figures) -> [Rows; 3] {
    let grpc = figures.transport == "grpc";
    let titles = if grpc {
        [
            "gRPC: orders",
            "gRPC: devices",
            "gRPC: closed loop, by process",
        ]
    } else {
        [
            "MQTT: orders",
            "MQTT: devices",
            "MQTT: closed loop, by process",
        ]
    };
    let mut orders = Rows::new(titles[0], &["SHAPE", "ORDERS/S", "P50 MS", "P99 MS"]);
    let mut shape = |name: String, per_second: f64, shape: &Shape| {
        orders.push([
            name,
            format!("{per_second:.0}"),
            format!("{:.2}", shape.p50_ms),
            format!("{:.2}", shape.p99_ms),
        ]);
    };
    let mut whole = |name: String, of: &Shape| shape(name, figures.orders(of), of);
    whole(
        format!("deletions, {} orders in flight", figures.in_flight),
        &figures.saturated,
    );
    whole("half of that rate".to_owned(), &figures.half_load);
    whole(
        format!("one deletion of {} devices at a time", figures.each),
        &figures.alone,
    );
    if let Some(raw) = &figures.raw {
        shape(
            format!("bare transport, {} orders in flight", figures.in_flight),
            raw.shape.per_second(),
            &raw.shape,
        );
    }
    let mut devices = Rows::new(titles[1], &["FIGURE", "VALUE"]);
    let mut figure = |name: String, value: String| devices.push([name, value]);
    let attached = format!("attached, {} replica(s)", figures.replicas);
    figure(attached, figures.devices.to_string());
    figure(
        "attached a second".to_owned(),
        format!("{:.0}", figures.attach),
    );
    let mut memory = |whose: &str, memory: &Memory| {
        let name = |when| format!("{whose}{}: bytes a device, {when}", memory.process);
        figure(name("idle"), format!("{:.0}", memory.idle));
        figure(name("after its order"), format!("{:.0}", memory.after));
    };
    figures.memory.iter().for_each(|of| memory("", of));
    if let Some(raw) = &figures.raw {
        memory("bare transport, ", &raw.memory);
        figure(
            "bare transport: attached a second".to_owned(),
            format!("{:.0}", raw.attach),
        );
    }
    if let Some(ratio) = figures.ratio() {
        figure(
            "the whole job reaches of the bare transport".to_owned(),
            format!("{ratio:.3}"),
        );
    }
    let heading = ["PROCESS", "CPU S PER 1,000 ORDERS", "PEAK MIB"];
    let mut costs = Rows::new(titles[2], &heading);
    for cost in &figures.costs {
        costs.push([
            cost.process.to_owned(),
            format!("{:.3}", cost.cpu_seconds_per_thousand),
            format!("{:.0}", cost.peak_mebibytes),
        ]);
    }
    [orders, devices, costs]
}
