"""Packages such as npm downloads, with a bundle of ours that does what the page asks of niivue and draws nothing."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

#: Remembers in `window.told` what it was told; nothing in it may end the element that holds it.
BUNDLE = """(function (root) {
  "use strict";
  const end = "</script><!--<script>";
  root.told = [end, "é"];
  root.niivue = {};
  root.niivue.Niivue = class {
    constructor(options) {
      Object.assign(this, { volumes: [], scene: { renderAzimuth: 110, renderElevation: 10 } });
      root.told.push(options);
    }
    async attachToCanvas(canvas) { this.canvas = canvas; root.viewer = this; return this; }
    addVolume(volume) { this.volumes.push(volume); }
    removeVolume(volume) { this.volumes.splice(this.volumes.indexOf(volume), 1); }
    setVolume(volume, place) {
      this.removeVolume(volume);
      this.volumes.splice(place, 0, volume);
    }
    setOpacity(place, opacity) { this.volumes[place].opacity = opacity; }
    setSliceType(type) { this.type = type; }
    setClipPlane(plane) { this.plane = plane; }
    setRenderAzimuthElevation(renderAzimuth, renderElevation) {
      Object.assign(this.scene, { renderAzimuth, renderElevation });
    }
    updateGLVolume() { this.updates = (this.updates ?? 0) + 1; }
    get sliceTypeRender() { return 4; }
    get sliceTypeMultiplanar() { return 3; }
  };
  root.niivue.NVImage = { loadFromBase64: async (words) => ({ ...words }) };
})(globalThis);
"""
ABOUT = '{"name": "@niivue/niivue", "version": "9.8.7", "dependencies": {"gl-matrix": "1", "fflate": "2"}}'


def package(path: Path, files: dict[str, str]) -> Path:
    """Write a .tgz with these files below `package`."""
    with tarfile.open(path, "w:gz") as made:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text.encode())
            made.addfile(member, io.BytesIO(text.encode()))
    return path


def whole_package(folder: Path) -> Path:
    """A package with all that is looked for."""
    files = {"dist/niivue.umd.js": BUNDLE, "package.json": ABOUT, "LICENSE": "Copyright <someone>", "src/a.ts": "a"}
    return package(folder / "niivue-niivue-9.8.7.tgz", files)
