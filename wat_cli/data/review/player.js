// The player and its caption track. A page on disk may not load a .vtt file, so the cues are added from the data.

const player = byId("player");
let captionTrack = null;

/** Text as WebVTT wants it written. */
const cueText = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function openMedia(url, language) {
  byId("player-problem").textContent = "";
  player.src = url;
  captionTrack ??= player.addTextTrack("captions", "Captions", language);
  captionTrack.mode = "showing";
}

function closeMedia() {
  player.pause();
  player.removeAttribute("src");
  player.load();
}

/** Replace the captions by [start, end, text], in milliseconds. */
function setCues(cues) {
  for (const cue of [...(captionTrack.cues ?? [])]) captionTrack.removeCue(cue);
  for (const [start, end, text] of cues)
    captionTrack.addCue(new VTTCue(start / 1000, end / 1000, cueText(text)));
  placeCues();
}

/** A file without a picture has a low player, whose controls would cover captions at its bottom. */
function placeCues() {
  const audioOnly = player.readyState > 0 && !player.videoWidth;
  player.classList.toggle("audio-only", audioOnly);
  for (const cue of captionTrack.cues ?? []) cue.line = audioOnly ? 1 : "auto";
}

function seek(seconds) {
  player.currentTime = Math.max(0, Math.min(seconds, current?.data.duration ?? seconds));
  drawPlayhead(); // also where the media file is missing and never tells that it was sought
  followPlayer();
}

function playFrom(seconds) {
  seek(seconds);
  player.play().catch(() => {}); // what is wrong is told by the error event
}

function togglePlay() {
  if (player.paused) player.play().catch(() => {});
  else player.pause();
}

player.addEventListener("loadedmetadata", placeCues);
player.addEventListener("error", () => {
  if (!player.getAttribute("src")) return;
  const missing = player.error?.code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED;
  byId("player-problem").textContent = missing
    ? "This browser cannot play the file, or it is not where it was captioned. Captions and timeline work without it."
    : "The file could not be played to its end.";
});
