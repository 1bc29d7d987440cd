#![no_main]
canary_gate_fuzz::fuzz!(recording);
