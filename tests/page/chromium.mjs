// Chromium as its npm package has it, with the libraries and the font that it brings: so it starts, and
// draws the same, on a machine without a desktop.
import { existsSync, mkdtempSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const modules = fileURLToPath(new URL("node_modules/", import.meta.url));
const args = ["--disable-gpu", "--disable-quic", "--disable-sync"];

/** Unpacks it, once: a run that was stopped leaves no half of it in the place where it is looked for. */
async function unpack() {
  const there = `${modules}.chromium`;
  if (existsSync(there)) return there;
  // The package unpacks into the folder for temporary files.
  process.env.TMPDIR = mkdtempSync(`${modules}.chromium-`);
  const { inflate } = await import("@sparticuz/chromium");
  for (const part of ["chromium", "al2023.tar", "fonts.tar"]) {
    await inflate(`${modules}@sparticuz/chromium/bin/${part}.br`);
  }
  const prefer = (family, font) =>
    `<alias binding="same"><family>${family}</family><prefer><family>${font}</family></prefer></alias>`;
  writeFileSync(
    `${process.env.TMPDIR}/fonts.conf`,
    `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
    <dir>${there}/fonts</dir><dir>/usr/share/fonts</dir><cachedir>${there}/font-cache</cachedir>
    ${prefer("system-ui", "Open Sans")}${prefer("ui-monospace", "DejaVu Sans Mono")}
    </fontconfig>`,
  );
  renameSync(process.env.TMPDIR, there);
  delete process.env.TMPDIR;
  return there;
}

/** The browser: $CHROME, the package's, or, on a machine that it has none for, an installed Chrome. */
export async function launch(more = []) {
  const options = { args: [...args, ...more] };
  if (process.env.CHROME) {
    return chromium.launch({ ...options, executablePath: process.env.CHROME });
  }
  if (process.platform !== "linux" || process.arch !== "x64") {
    return chromium.launch({ ...options, channel: "chrome" }).catch((error) => {
      throw new Error(`Install Chrome, or name a Chromium in $CHROME. ${error.message}`);
    });
  }
  const there = await unpack();
  const env = {
    ...process.env,
    LD_LIBRARY_PATH: `${there}/al2023/lib`,
    FONTCONFIG_FILE: `${there}/fonts.conf`,
  };
  return chromium.launch({ ...options, executablePath: `${there}/chromium`, env });
}
