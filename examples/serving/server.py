"""Answer an uploaded sound with the clips that it finds: ``python server.py CLIPS INDEX``."""

import argparse
import io
from math import gcd
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pipeline import RATE, TRUSTED
from scipy.io import wavfile
from scipy.signal import resample_poly

from cca_estimators import CrossModalIndex

PAGE = Path(__file__).with_name("page.html")
MOST_BYTES = 10_000_000


def make_app(folder, index_path):
    """Return the application for an index of the clips in a folder."""
    index = CrossModalIndex.load(index_path, trusted=TRUSTED)
    app = FastAPI(title="Clips by sound")
    app.mount("/clips", StaticFiles(directory=folder), name="clips")

    @app.get("/")
    def page():
        return FileResponse(PAGE)

    @app.post("/search")
    async def search(request: Request, n: int = 5):
        """Return ids and distances of the n clips nearest to the wav file in the body."""
        if not 1 <= n <= index.n_samples_fit_:
            raise HTTPException(400, f"n={n} must be from 1 to {index.n_samples_fit_}.")
        waveform = read_wav(await body_of(request))
        queries = {"audio": waveform[None]}
        distances, ids = await run_in_threadpool(index.kneighbors, queries, n)
        found = zip(ids[0].tolist(), distances[0].tolist(), strict=True)
        return {"results": [{"id": name, "distance": distance} for name, distance in found]}

    return app


async def body_of(request):
    """Return the body of a request, refused as soon as it is too large."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"The file is larger than {MOST_BYTES / 1e6:.0f} MB.")
    return bytes(body)


def read_wav(data):
    """Return the waveform of a wav file at the rate of the index, channels averaged."""
    try:
        rate, sound = wavfile.read(io.BytesIO(data))
    except Exception as error:  # SciPy raises all kinds for what is no wav file
        raise HTTPException(400, f"This is no wav file that can be read: {error}") from error
    if rate < RATE or not sound.size:
        found = f"{len(sound)} samples at {rate} Hz"
        raise HTTPException(400, f"The sound has {found}; {RATE} Hz or more are needed.")
    if sound.dtype.kind == "u":  # files of 8 bits
        sound = (sound - 128.0) / 128
    elif sound.dtype.kind == "i":
        sound = sound / (np.iinfo(sound.dtype).max + 1)
    mono = sound.reshape(len(sound), -1).mean(axis=1)
    common = gcd(rate, RATE)
    return resample_poly(mono, RATE // common, rate // common)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    uvicorn.run(make_app(options.clips, options.index), port=options.port)
