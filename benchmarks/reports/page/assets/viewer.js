"use strict";
// A volume of the gallery in 3-D, by niivue, which lies gzipped in the page and is started when it is first asked for.
(() => {
  const ABOVE = 128; // the grey from which on a map lies above its threshold, see solid.py
  const [MAP, LESIONS] = [1, 2]; // places of what lies upon the scan, the later above
  const OPACITY = 0.5; // of the lesions, through which the map is seen
  const TURN = 10; // degrees per arrow key
  const LOOKS = {
    isRadiologicalConvention: false, isOrientationTextVisible: true, isOrientCube: true, show3Dcrosshair: false,
    crosshairColor: [0.34, 0.71, 0.91, 1], crosshairWidth: 0.6, clipPlaneColor: [0, 0, 0, 0], backColor: [0, 0, 0, 1],
    multiplanarLayout: 2, multiplanarShowRender: 1, // four fields, of which 3-D is always one
    dragAndDropEnabled: false, loadingText: "", logLevel: "error",
  };
  const make = (name, words, properties) => Object.assign(document.createElement(name), { textContent: words ?? "" }, properties);
  const bytesOf = (word) => Uint8Array.from(atob(word), (letter) => letter.charCodeAt(0));
  const unpacked = async (word) => {
    const stream = new Blob([bytesOf(word)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  let library = null;
  const start = async () => {
    const script = make("script", await unpacked(document.getElementById("viewer-bundle").textContent.trim()));
    document.head.append(script);
    return globalThis.niivue;
  };
  const whyNot = () => {
    if (typeof DecompressionStream === "undefined") return "This browser is too old to show volumes in 3-D.";
    const context = document.createElement("canvas").getContext("webgl2");
    context?.getExtension("WEBGL_lose_context")?.loseContext();
    return context ? "" : "This browser has no WebGL 2, which a volume in 3-D needs; the slices and the three planes do without.";
  };

  const fileOf = (base64, name, how) => library.NVImage.loadFromBase64({ base64, name: `${name}.nii.gz`, ...how });
  const scanOf = (solid) => fileOf(solid.scan, "scan", { colormap: "gray", cal_min: 0, cal_max: 255 });
  const lesionsOf = (solid) => fileOf(solid.lesions, "lesions", { colormap: "blue", opacity: OPACITY, cal_min: 0.5, cal_max: 1 });
  const mapOf = (content) => fileOf(content, "map", { colormap: "warm", opacity: 0.7, cal_min: ABOVE, cal_max: 255 });

  const turned = (viewer, event) => {
    const step = { ArrowLeft: [-TURN, 0], ArrowRight: [TURN, 0], ArrowUp: [0, TURN], ArrowDown: [0, -TURN] }[event.key];
    if (!step) return;
    event.preventDefault();
    const { renderAzimuth, renderElevation } = viewer.scene;
    viewer.setRenderAzimuthElevation(renderAzimuth + step[0], renderElevation + step[1]);
  };

  // ---- what a reader can change
  const labelled = (words, element) => {
    const label = make("label", `${words} `);
    label.append(element);
    return label;
  };
  const controlsOf = (viewer, solid) => {
    const row = make("select");
    solid.maps.forEach(([title], place) => row.append(make("option", title, { value: place })));
    const from = make("input", "", { type: "range", min: 1, max: 254, value: ABOVE });
    const lesions = make("input", "", { type: "checkbox", checked: true });
    const view = make("select");
    for (const [words, type] of [["3-D", "sliceTypeRender"], ["3-D and planes", "sliceTypeMultiplanar"]]) view.append(make("option", words, { value: type }));
    const cut = make("input", "", { type: "range", min: 0, max: 100, value: 0 });
    const said = make("output");
    const showFrom = () => {
      said.textContent = `${(from.value / ABOVE).toFixed(1)} × the threshold`;
      viewer.volumes[MAP].cal_min = Number(from.value);
      viewer.updateGLVolume();
    };
    row.addEventListener("change", async () => {
      const map = await mapOf(solid.maps[Number(row.value)][1]);
      viewer.removeVolume(viewer.volumes[MAP]);
      viewer.addVolume(map);
      viewer.setVolume(map, MAP);
      showFrom();
    });
    from.addEventListener("input", showFrom);
    lesions.addEventListener("change", () => viewer.setOpacity(LESIONS, lesions.checked ? OPACITY : 0));
    view.addEventListener("change", () => viewer.setSliceType(viewer[view.value]));
    // a plane that comes down from the top of the head; 2 is beyond the volume: nothing is cut
    cut.addEventListener("input", () => viewer.setClipPlane([Number(cut.value) ? 0.5 - Number(cut.value) / 100 : 2, 0, 90]));
    const controls = make("p", "", { className: "controls" });
    controls.append(
      labelled("Map of", row), labelled("shown from", from), said, labelled("true lesion", lesions), labelled("View", view), labelled("cut from above", cut),
    );
    showFrom();
    return controls;
  };

  const open = async (article) => {
    const dialog = document.getElementById("volume");
    const body = document.getElementById("volume-body");
    const title = make("h3", article.querySelector("h3").textContent, { id: "volume-name" });
    const reason = whyNot();
    body.replaceChildren(title, make("p", reason || "Opening …"));
    dialog.showModal();
    if (reason) return;
    library ??= await start();
    const solid = JSON.parse(article.querySelector("script.solid").textContent);
    const viewer = new library.Niivue(LOOKS);
    const canvas = make("canvas", "", { className: "solid", tabIndex: 0 });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title.textContent}, in 3-D: scan, true lesion and anomaly map; arrow keys turn it`);
    const frame = make("div", "", { className: "solid-frame" });
    frame.append(canvas);
    const note = make("p", "Blue: the true lesion. Warm: the anomaly map, at first where it lies above the run's threshold. Drag or press arrow keys to turn; L, A and S are the patient's left, front and top.");
    body.replaceChildren(title, frame, note);
    dialog.classList.add("wide");
    await viewer.attachToCanvas(canvas);
    for (const volume of [await scanOf(solid), await mapOf(solid.maps[0][1]), await lesionsOf(solid)]) viewer.addVolume(volume);
    viewer.scene.crosshairPos = solid.middle;
    viewer.setSliceType(viewer.sliceTypeRender);
    canvas.addEventListener("keydown", (event) => turned(viewer, event));
    note.before(controlsOf(viewer, solid));
    body.dataset.ready = "3-D";
    dialog.addEventListener("close", () => {
      dialog.classList.remove("wide");
      delete body.dataset.ready;
      viewer.gl?.getExtension("WEBGL_lose_context")?.loseContext(); // a browser keeps few contexts
      body.replaceChildren();
    }, { once: true });
  };
  const opened = (article) => open(article).catch((error) => {
    document.getElementById("volume-body").replaceChildren(make("p", `This volume cannot be shown in 3-D: ${error.message ?? error}.`));
  });
  document.querySelectorAll("button.in-3d").forEach((button) => button.addEventListener("click", () => opened(button.closest(".case"))));
})();
