import "../style.css";

import { mount } from "svelte";

import { main } from "../backend/tauri";
import Main from "./Main.svelte";

mount(Main, { target: document.body, props: { backend: main } });
