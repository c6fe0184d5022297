# This cell waits for the notebooks of problems 1 and 2; write_through stands in all three.
import hashlib
import io

import torch


def resumable(epochs, path, key, log, *parts):
    """Yield those of the epochs 0 to epochs - 1 that no earlier run kept; keep each at its end.

    key: fingerprint (text) of all that the training depends on; file: <path>-<key>.pt. log: list
    of what the body appends, of Python's numbers, texts, lists and dicts. parts: modules,
    optimizers, schedulers. What was kept of log, of the parts' state_dict() and of torch's random
    numbers is loaded in place, to the bit. A damaged file is set aside as .damaged, and the
    training starts anew. Raises OSError as write_through.
    """
    path, done, cuda = path.with_name(f"{path.name}-{key}.pt"), 0, torch.cuda.is_available()
    if path.exists():
        kept = path.read_bytes()
        if hashlib.sha256(kept[32:]).digest() == kept[:32]:
            state = torch.load(io.BytesIO(kept[32:]), "cpu", weights_only=True)
            done, log[:] = state["epochs"], state["log"]
            for part, values in zip(parts, state["parts"], strict=True):
                part.load_state_dict(values)
            torch.set_rng_state(state["random"][0])
            for number, values in enumerate(state["random"][1:] if cuda else []):
                torch.cuda.set_rng_state(values, number)
            print(f"{path.name}: {done} of {epochs} epochs are done")
        else:
            path.replace(path.with_suffix(".damaged"))
            print(f"{path.name} was damaged: set aside as .damaged, and made anew.")
    for epoch in range(done, epochs):
        yield epoch
        random = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if cuda else [])]
        state = {"epochs": epoch + 1, "log": log, "parts": [part.state_dict() for part in parts]}
        buffer = io.BytesIO()
        torch.save(state | {"random": random}, buffer)
        content = hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()
        write_through(path, lambda partial, bytes_=content: partial.write_bytes(bytes_))  # noqa: F821
