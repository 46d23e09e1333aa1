"""The limits of the page, and the sentence of each."""

#: Bytes of a recording that a browser sends: an hour of wav in stereo at 44 100 Hz has 635 MB, half an hour 318 MB.
MOST_BYTES = 400 * 2**20
#: Length of a recording that a browser sends, or that is in a folder. An hour takes about half a minute.
MOST_SECONDS = 3600.0
#: Recordings of a folder, or of a file of results.
MOST_RECORDINGS = 2000
#: Seconds after which the browser stops to record by itself.
MOST_RECORDED_SECONDS = 60
#: Requests that send or score a recording at the same time; the page itself sends one after the other.
MOST_AT_ONCE = 4
#: Characters of a file's name that are shown.
LONGEST_NAME = 200

TOO_LARGE = f"It has more than {MOST_BYTES >> 20} MB. Cut it, or save it as mp3 or flac."
TOO_LONG = f"It is longer than {MOST_SECONDS / 60:.0f} minutes. Cut it."
TOO_MANY = f"it has more than {MOST_RECORDINGS} recordings"
TOO_BUSY = f"{MOST_AT_ONCE} recordings are being scored already. Try it again in a moment."
#: The sentence about limits beside the button that chooses files.
SENTENCE = (
    f"A recording has at most {MOST_BYTES >> 20} MB and {MOST_SECONDS / 60:.0f} minutes. "
    f"The microphone records at most {MOST_RECORDED_SECONDS} seconds."
)
