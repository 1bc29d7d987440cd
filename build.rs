//! How the Lambda function is linked: so that it starts with little memory (docs/start.md).

fn main() {
    println!("cargo::rerun-if-changed=infra/sections.ld");
    let of_target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if (of_target("OS").as_str(), of_target("ENV").as_str()) != ("linux", "gnu") {
        return;
    }
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    // At a fixed address, nothing is left to relocate: that would touch a megabyte at each start.
    for argument in ["-no-pie".to_owned(), format!("-Wl,-T,{root}/infra/sections.ld")] {
        println!("cargo::rustc-link-arg-bin=bootstrap={argument}");
    }
}
