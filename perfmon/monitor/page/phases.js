// The phases of a run, in their order.

export const PHASES = ["resolve", "connect", "tls", "request", "processing", "transfer"];
