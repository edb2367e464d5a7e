"""read_clips: what is read, on which clock, and what is refused."""

import pickle
from fractions import Fraction

import numpy as np
import pytest

from cca_estimators import Views
from cca_estimators.media import _made, make_clips, read_clips

av = pytest.importorskip("av", reason="PyAV (extra media) is not installed")

RATE = 16000


def write(path, seconds=3.0, *, fps=12, rate=RATE, sound=True, picture=True, late=0.0, **options):
    """Write a clip: dark and silent but for a flash and a beep, both from 1.0 to 1.5 seconds."""
    n_frames, n_samples = round(seconds * fps), round((seconds - late) * rate)
    time = late + np.arange(n_samples) / rate
    wave = np.where((time >= 1) & (time < 1.5), np.sin(2 * np.pi * 440 * time), 0)
    with av.open(str(path), "w", options=options) as container:
        if picture:
            video = container.add_stream("mpeg4", rate=fps)
            video.height, video.width, video.pix_fmt = 32, 48, "yuv420p"
        if sound:
            audio = container.add_stream("pcm_s16le" if late else "aac", rate=rate)
            audio.layout = "mono"
        for step in range(n_frames if picture else 0):
            lit = 1 <= step / fps < 1.5
            frame = av.VideoFrame.from_ndarray(
                np.full((32, 48, 3), 230 if lit else 20, np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = step, Fraction(1, fps)
            container.mux(video.encode(frame))
        if picture:
            container.mux(video.encode(None))
        if sound:
            frame = av.AudioFrame.from_ndarray(
                wave[None].astype(np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round(late * rate)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def truncate(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


@pytest.fixture
def folder(tmp_path):
    """Return a folder of two classes with two sound clips each and one that is damaged."""
    for name in ("dogs", "cats"):
        (tmp_path / name).mkdir()
        for number, seconds in enumerate((2.0, 3.0)):
            write(tmp_path / name / f"{number}.mp4", seconds)
        truncate(write(tmp_path / name / "a.mp4"), 0.5)
    (tmp_path / "cats" / ".DS_Store").write_text("")
    return tmp_path


def lit(frames):
    return frames.mean(axis=(1, 2, 3)) > 125


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize(("fps", "rate"), [(4, 16000), (10, 8000), (12, 11025)])
def test_sound_and_picture_are_on_one_clock(tmp_path, suffix, fps, rate):
    path = write(tmp_path / f"clip.{suffix}")
    data = read_clips([path], fps=fps, rate=rate).data
    wave, frames = data["audio"][0], data["visual"][0]
    assert wave.dtype == np.float32
    assert frames.dtype == np.uint8
    assert frames.shape == (3 * fps, 32, 48, 3)
    assert len(wave) == 3 * rate
    middles = (np.arange(3 * fps) + 0.5) / fps
    np.testing.assert_array_equal(lit(frames), (middles >= 1) & (middles < 1.5))
    loud = np.flatnonzero(abs(wave) > 0.3) / rate
    assert loud[0] == pytest.approx(1.0, abs=0.01)
    assert loud[-1] == pytest.approx(1.5, abs=0.01)


def test_a_clip_begins_where_both_are_there(tmp_path):
    path = write(tmp_path / "late.mkv", late=0.5)
    data = read_clips([path]).data
    wave, frames = data["audio"][0], data["visual"][0]
    assert frames.shape[0] == 10
    assert len(wave) == 2.5 * RATE
    assert np.flatnonzero(abs(wave) > 0.3)[0] / RATE == pytest.approx(0.5, abs=0.01)
    np.testing.assert_array_equal(np.flatnonzero(lit(frames)), [2, 3])


def test_seconds_and_size(tmp_path):
    path = write(tmp_path / "clip.mp4")
    data = read_clips([path], seconds=1.25, size=(16, 20)).data
    assert data["visual"][0].shape == (5, 16, 20, 3)
    assert data["audio"][0].shape == (1.25 * RATE,)
    np.testing.assert_array_equal(lit(data["visual"][0]), [False] * 4 + [True])
    with pytest.raises(ValueError, match=r"size=\(16,\) must be a height and a width"):
        read_clips([path], size=(16,))


def test_a_folder_for_each_class(folder):
    with pytest.warns(UserWarning, match="2 of 6 files were refused and left out"):
        clips = read_clips(folder)
    assert clips.target_names == ["cats", "dogs"]
    assert clips.target.tolist() == [0, 0, 1, 1]
    expected = [
        str(folder / name) for name in ("cats/0.mp4", "cats/1.mp4", "dogs/0.mp4", "dogs/1.mp4")
    ]
    assert clips.filenames.tolist() == expected
    assert [len(wave) / RATE for wave in clips.data["audio"]] == [2, 3, 2, 3]
    assert [len(frames) for frames in clips.data["visual"]] == [8, 12, 8, 12]
    assert [name for name, _ in clips.refused] == [
        str(folder / n / "a.mp4") for n in ("cats", "dogs")
    ]


def test_labels_stay_with_their_paths(folder):
    paths = [folder / "cats" / f"{name}.mp4" for name in ("1", "a", "0")]
    with pytest.warns(UserWarning, match=r"1 of 3 files .* damaged, truncated or no media file"):
        clips = read_clips(paths, y=["late", "bad", "early"])
    assert clips.target.tolist() == ["late", "early"]
    assert clips.target_names is None
    assert [len(frames) for frames in clips.data["visual"]] == [12, 8]
    alone = read_clips([paths[0], paths[2]])
    assert alone.target is None
    assert alone.refused == []
    with pytest.raises(ValueError, match="y was given for the folder"):
        read_clips(folder, y=[0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        read_clips(paths, y=[0, 1])


def test_a_folder_without_classes_and_one_of_both_kinds(folder):
    with pytest.warns(UserWarning, match="1 of 3 files"):
        clips = read_clips(folder / "dogs")
    assert clips.target is clips.target_names is None
    assert len(clips.filenames) == 2
    write(folder / "loose.mp4", 1.0)
    with pytest.raises(ValueError, match="files beside them, such as 'loose.mp4'"):
        read_clips(folder)


REFUSED = {
    "without sound": lambda path: write(path, sound=False),
    "without picture": lambda path: write(path, picture=False),
    "no media file .*Invalid data": lambda path: truncate(write(path), 0.6),
    "truncated: it ends at .* s of 3.00 s": lambda path: truncate(
        write(path, movflags="faststart"), 0.7
    ),
    "sound of 8000 Hz, less than rate=16000": lambda path: write(path, rate=8000),
    "2 pictures a second, less than fps=4": lambda path: write(path, fps=2),
    "shorter than one step of 0.25 s": lambda path: write(path, 0.17),
    "damaged, truncated or no media": lambda path: path.write_text("# Sounds") and path,
    "no media file .*No such file": lambda path: path,
    "no media file .*(Invalid|End)": lambda path: truncate(write(path), 0),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_files_that_are_refused(tmp_path, reason):
    sound = write(tmp_path / "sound.mp4", 1.0)
    bad = REFUSED[reason](tmp_path / "bad.mp4")
    with pytest.warns(UserWarning, match=f"1 of 2 files .*bad.mp4: .*{reason}") as warned:
        clips = read_clips([bad, sound])
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert clips.filenames.tolist() == [str(sound)]
    ((name, why),) = clips.refused
    assert name == str(bad)
    with pytest.raises(ValueError, match=f"bad.mp4 is no clip: .*{reason}"):
        read_clips([sound, bad], on_error="raise")
    with pytest.raises(ValueError, match=f"all 1 files were refused, .*{reason}"):
        read_clips([bad])


def test_rows_are_decoded_when_they_are_used(folder, monkeypatch):
    from cca_estimators.media import _decoding

    decoded = []
    whole = _decoding.pictures
    monkeypatch.setattr(
        _decoding, "pictures", lambda path, *rest: decoded.append(path) or whole(path, *rest)
    )
    clips = read_clips([folder / "cats" / f"{number % 2}.mp4" for number in range(6)])
    X = clips.data
    assert repr(X) == "Views(audio=(6,), visual=(6,))"
    part = X[np.array([5, 0])]
    assert isinstance(part, Views)
    assert X[X["audio"].paths == clips.filenames[1]].shape == (3,)
    assert decoded == []
    assert [len(frames) for frames in part["visual"]] == [12, 8]
    assert decoded == clips.filenames[[5, 0]].tolist()
    assert len(pickle.dumps(X)) < 5000
    for taken in X["visual"]:
        assert len(decoded) == 3
        np.testing.assert_array_equal(taken, X["visual"][0])
        break


def test_parallel_reading_gives_the_same(folder):
    with pytest.warns(UserWarning, match="2 of 6 files"):
        one, two = (read_clips(folder, n_jobs=n_jobs) for n_jobs in (1, 2))
    assert one.refused == two.refused
    for name in ("audio", "visual"):
        for row, other in zip(one.data[name], two.data[name], strict=True):
            np.testing.assert_array_equal(row, other)


def test_a_clip_that_is_gone_later_is_named(tmp_path):
    path = write(tmp_path / "clip.mp4", 1.0)
    data = read_clips([path]).data
    path.unlink()
    for rows in data.values():
        with pytest.raises(ValueError, match=r"clip.mp4 was a clip when it was read"):
            rows[0]


def test_clips_that_are_made(tmp_path):
    folder = make_clips(tmp_path / "made", 12, seconds=(0.5, 1.0), random_state=0)
    clips = read_clips(folder)
    assert clips.target_names == ["bar", "cross", "disc", "ring", "square", "triangle"]
    assert np.bincount(clips.target).tolist() == [2] * 6
    lengths = [len(wave) / RATE for wave in clips.data["audio"]]
    assert 0.25 <= min(lengths) < max(lengths) <= 1.0
    again = read_clips(make_clips(tmp_path / "again", 12, seconds=(0.5, 1.0), random_state=0))
    for row, other in zip(clips.data["audio"], again.data["audio"], strict=True):
        np.testing.assert_array_equal(row, other)


def test_made_shapes_are_what_they_are_called():
    def covers(shape, y, x):
        return bool(_made._inside(shape, np.array(y), np.array(x)))

    assert [covers(shape, 0.0, 0.0) for shape in ("bar", "cross", "disc", "square")] == [True] * 4
    assert [covers("ring", 0.0, x) for x in (0.0, 0.8, 1.2)] == [False, True, False]
    assert [covers("bar", y, x) for y, x in ((0.0, 1.3), (0.4, 0.0))] == [True, False]
    assert [covers("cross", y, x) for y, x in ((0.0, 1.0), (0.5, 0.5))] == [True, False]
    assert [covers(shape, 0.85, 0.85) for shape in ("square", "disc")] == [True, False]
    assert [covers("triangle", y, 0.0) for y in (-0.9, 0.9)] == [True, True]
    assert [covers("triangle", y, 0.5) for y in (-0.9, 0.9)] == [False, True]


def test_made_pictures_show_the_shape_brighter_than_the_ground():
    for seed in range(5):
        frames = _made._pictures("disc", 3, np.random.RandomState(seed)).astype(float)
        grey = frames.mean(axis=3)
        bright = (grey > (grey.min() + grey.max()) / 2).mean()
        size = np.random.RandomState(seed).uniform(7, 13)
        assert bright == pytest.approx(np.pi * size**2 / grey[0].size, rel=0.2)


def test_made_tones_have_the_pitch_that_was_drawn():
    for seed in range(5):
        sound = _made._waveform("disc", _made._RATE, np.random.RandomState(seed))
        pitch = np.random.RandomState(seed).uniform(300, 600)
        assert np.abs(np.fft.rfft(sound)).argmax() == pytest.approx(pitch, abs=1)
