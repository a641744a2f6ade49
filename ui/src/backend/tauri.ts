/** The only file that knows Tauri. */
import { invoke } from "@tauri-apps/api/core";
import { listen } from "@tauri-apps/api/event";

import type { ConfirmBackend, MainBackend } from "./backend";

export const main: MainBackend = {
  snapshot: () => invoke("snapshot"),
  onChange: (listener) => void listen("changed", listener),
  onPage: (listener) => void listen<string>("page", (event) => listener(event.payload)),
  act: (action) => invoke("act", { action }),
  call: (method, params) => invoke("engine_call", { method, params }),
  addAccount: (params) => invoke("account_add", { params }),
  unlock: (passphrase) => invoke("vault_unlock", { params: { passphrase } }),
  openSignOutPage: (account) => invoke("open_sign_out_page", { account }),
  startDrill: () => invoke("start_drill"),
};

export const confirm: ConfirmBackend = {
  view: () => invoke("confirm_view"),
  onChange: (listener) => void listen("confirm", listener),
  onEnds: (listener) => void listen<string>("ends", (event) => listener(event.payload)),
  touch: () => invoke("confirm_touch"),
  painted: (revision) => invoke("confirm_painted", { revision }),
  decide: (choice) => invoke("confirm_decide", { choice }),
};
