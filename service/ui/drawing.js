// The canvas: a dark pen on white, as most photographs of goods are.

const BACKGROUND = "#fff";
const PEN = "#202020";

/**
 * Let the user draw.
 *
 * @param {HTMLCanvasElement} canvas to draw on
 * @param {HTMLInputElement} width the pen's, in the canvas's pixels
 * @param {(drawing: Promise) => void} finished called after each stroke
 * @returns a function that clears the canvas
 */
export function drawOn(canvas, width, finished) {
  const context = canvas.getContext("2d");
  let pointer = null; // the id of the pointer that draws; a second finger does not

  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    context.lineWidth = Number(width.value);
    context.beginPath();
    context.moveTo(...position(canvas, event));
    stroke(context, canvas, event); // a dot, where the pointer does not move
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId === pointer) stroke(context, canvas, event);
  });
  canvas.addEventListener("pointercancel", () => (pointer = null));
  canvas.addEventListener("pointerup", (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    finished(drawing(canvas));
  });

  const clear = () => {
    context.fillStyle = BACKGROUND;
    context.fillRect(0, 0, canvas.width, canvas.height);
    Object.assign(context, { strokeStyle: PEN, lineCap: "round", lineJoin: "round" });
  };
  clear();
  return clear;
}

async function drawing(canvas) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve));
  return { file: new File([blob], "drawing.png", { type: blob.type }), onDisk: false };
}

function stroke(context, canvas, event) {
  context.lineTo(...position(canvas, event));
  context.stroke();
}

/** Where the pointer is, in the canvas's own pixels. */
function position(canvas, event) {
  const scale = canvas.width / canvas.clientWidth;
  return [event.offsetX * scale, event.offsetY * scale];
}
