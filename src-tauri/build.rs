//! Embeds the windows and generates one permission for each of the tray's own commands.

fn main() {
    let commands = &[
        "confirm_view",
        "confirm_painted",
        "confirm_touch",
        "confirm_decide",
        "snapshot",
        "act",
        "engine_call",
        "account_add",
        "vault_unlock",
        "open_sign_out_page",
        "start_drill",
    ];
    let manifest = tauri_build::AppManifest::new().commands(commands);
    if let Err(error) = tauri_build::try_build(tauri_build::Attributes::new().app_manifest(manifest)) {
        println!("cargo::error={error:#}");
    }
}
