"""The server answers sounds with clips, over HTTP and in a browser."""

import json
import shutil
import socket
import subprocess
import threading
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from scipy.io import wavfile

for package in ("av", "fastapi", "uvicorn", "skops"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import uvicorn
from make_index import make_index
from pipeline import RATE, TRUSTED
from server import make_app, read_wav

from cca_estimators import CrossModalIndex
from cca_estimators.media import make_clips, read_clips


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_for(condition, what, seconds=60):
    """Return what a condition returns once it is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    pytest.fail(f"{what} did not happen in {seconds} seconds")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with clips, their index, and a sound to ask with."""
    folder = tmp_path_factory.mktemp("serving")
    made = make_clips(folder / "clips", n_clips=48, seconds=(1.0, 1.5), random_state=0)
    with pytest.warns(UserWarning, match="pipeline.summary"):
        make_index(made, folder / "clips.index")
    (wave,) = read_clips([made / "disc" / "00002.mp4"]).data["audio"]
    wavfile.write(folder / "sound.wav", RATE, (wave * 2**15).astype(np.int16))
    return folder


@pytest.fixture(scope="module")
def address(folder):
    """Return the address of a running server."""
    port = free_port()
    app = make_app(folder / "clips", folder / "clips.index")
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started, "the start of the server")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def post(url, data):
    """Return status and decoded answer of a request."""
    try:
        with urlopen(Request(url, data=data)) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


def test_a_sound_is_answered_with_ids_and_distances(address, folder):
    sound = (folder / "sound.wav").read_bytes()
    status, answer = post(f"{address}/search?n=7", sound)
    assert status == 200
    index = CrossModalIndex.load(folder / "clips.index", trusted=TRUSTED)
    distances, ids = index.kneighbors({"audio": read_wav(sound)[None]}, 7)
    assert [result["id"] for result in answer["results"]] == ids[0].tolist()
    assert [result["distance"] for result in answer["results"]] == distances[0].tolist()
    assert ids[0][0].startswith("disc/")
    with urlopen(f"{address}/clips/{ids[0][0]}") as response:
        assert response.headers["content-type"] == "video/mp4"


@pytest.mark.parametrize(
    ("path", "data", "status", "message"),
    [
        ("search", b"no sound", 400, "no wav file that can be read"),
        ("search?n=49", b"", 400, "n=49 must be from 1 to 48"),
        ("search", bytes(10_000_001), 413, "larger than 10 MB"),
    ],
    ids=["garbage", "too many", "too large"],
)
def test_what_cannot_be_answered_says_why(address, path, data, status, message):
    found, answer = post(f"{address}/{path}", data)
    assert found == status
    assert message in answer["detail"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_wav_files_of_all_kinds_are_read(tmp_path, dtype, rate):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    stored = tone if dtype == np.float32 else tone * np.iinfo(np.int32).max
    if dtype == np.uint8:
        stored = tone * 127 + 128
    elif dtype == np.int16:
        stored = tone * 2**15
    wavfile.write(tmp_path / "tone.wav", rate, np.c_[stored, stored].astype(dtype))
    waveform = read_wav((tmp_path / "tone.wav").read_bytes())
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(waveform[500:-500], expected[500:-500], atol=0.02)


class Browser:
    """A session of a browser without a window, by the protocol of WebDriver."""

    def __init__(self, driver, port):
        self.driver = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL)
        self.address = f"http://127.0.0.1:{port}/session"
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        options = {"binary": shutil.which("chromium"), "args": arguments}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        answer = wait_for(lambda: self._try("", wanted), "the start of the browser")
        self.address += f"/{answer['sessionId']}"

    def _try(self, path, data):
        try:
            return self.post(path, data)
        except OSError:
            return None

    def post(self, path, data):
        with urlopen(Request(f"{self.address}{path}", data=json.dumps(data).encode())) as response:
            return json.load(response)["value"]

    def run(self, script):
        return self.post("/execute/sync", {"script": f"return {script}", "args": []})

    def upload(self, path):
        found = self.post("/element", {"using": "css selector", "value": "input"})
        self.post(f"/element/{next(iter(found.values()))}/value", {"text": str(path)})

    def close(self):
        with urlopen(Request(self.address, method="DELETE")):
            pass
        self.driver.terminate()
        self.driver.wait()


@pytest.fixture
def browser():
    driver = shutil.which("chromedriver")
    if driver is None or shutil.which("chromium") is None:
        pytest.skip("Chromium and its driver (Debian: chromium, chromium-driver) are not installed")
    browser = Browser(driver, free_port())
    yield browser
    browser.close()


def test_the_page_plays_the_sound_and_shows_what_it_finds(browser, address, folder):
    browser.post("/url", {"url": address})
    assert browser.run("document.title") == "Clips by sound"
    browser.upload(folder / "sound.wav")
    videos = "[...document.querySelectorAll('#results video')]"
    wait_for(lambda: browser.run(f"{videos}.length") == 5, "the answer")
    captions = browser.run("[...document.querySelectorAll('#results li')].map(x => x.innerText)")
    _, answer = post(f"{address}/search", (folder / "sound.wav").read_bytes())
    assert captions == [f"{found['id']} ({found['distance']:.3f})" for found in answer["results"]]
    ready = f"{videos}.every(x => x.readyState >= 2 && x.videoWidth === 64)"
    wait_for(lambda: browser.run(ready), "the loading of the clips")
    wait_for(lambda: browser.run("document.querySelector('audio').duration > 0.9"), "the sound")
    assert browser.run("document.querySelector('[role=alert]').textContent") == ""
    (folder / "bad.wav").write_text("no sound")
    browser.upload(folder / "bad.wav")
    alert = "document.querySelector('[role=alert]').textContent"
    wait_for(lambda: "no wav file" in browser.run(alert), "the word of what is wrong")
    assert browser.run(f"{videos}.length") == 0
