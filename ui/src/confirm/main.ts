import "../style.css";

import { mount } from "svelte";

import { confirm } from "../backend/tauri";
import Confirm from "./Confirm.svelte";

mount(Confirm, { target: document.body, props: { backend: confirm } });
