"""Programs that answer in lines of JSON, each with a time limit."""

import json
import queue
import subprocess
import threading
import time


# The exit code of a Rust program after a panic.
PANIC = 101


class Failure(Exception):
    """Why there is no answer, in one sentence."""


class Child:
    """A program under way. What it writes to standard error goes to a file, whose end explains failures."""

    def __init__(self, command, environment, log):
        self.log, self.ended = log, None
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
        self.answers = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def read(self, seconds):
        """The next answer; none at the program's end.

        A program that takes longer is ended: what it would say later belongs to no question any more."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.answers.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                self.process.kill()
                self.process.wait()
                self.ended = f"it was ended, since there was no answer within {seconds:.0f} s"
                raise Failure(self.ended) from None
            if line is None:
                return None
            try:
                answer = json.loads(line)
            except ValueError:
                continue  # something that a library prints
            if isinstance(answer, dict):
                return answer

    def ask(self, question, seconds):
        """The answer to a line; an `error` in it is a failure."""
        if seconds <= 0:
            raise Failure("no time was left")
        try:
            print(question, file=self.process.stdin, flush=True)
        except (OSError, ValueError):
            raise Failure(self.reason()) from None
        return self.ask_nothing(seconds)

    def ask_nothing(self, seconds):
        """The answer that comes without a question, as when a model is loaded."""
        answer = self.read(seconds)
        if answer is None:
            raise Failure(self.reason())
        if "error" in answer:
            raise Failure(answer["error"])
        return answer

    def reason(self):
        """Why the program ended."""
        if self.ended:
            return self.ended
        code = self.process.wait()
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            text = ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        # A panic's message is the line after the one that says where; anything else ends with a sentence.
        panics = [after for line, after in zip(lines, lines[1:]) if " panicked at " in line]
        last = (panics if code == PANIC and panics else lines or ["it said nothing"])[-1]
        return f"{last.removeprefix('error: ')} (exit code {code})"

    def is_alive(self):
        return self.process.poll() is None

    def close(self):
        """Has the program end, which may take it a moment: it keeps what it found out about kernels."""
        try:
            self.process.stdin.close()
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()


def answers(command, environment, log, seconds):
    """All that a program answers until it ends, and why there is not more; nothing if it ended well."""
    child = Child(command, environment, log)
    child.process.stdin.close()
    end, found = time.monotonic() + seconds, []
    try:
        while (answer := child.read(max(0.0, end - time.monotonic()))) is not None:
            found.append(answer)
    except Failure:
        return found, f"it was ended after {seconds:.0f} s"
    return found, None if child.process.wait() == 0 else child.reason()
