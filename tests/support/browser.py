"""
A headless Chromium (Debian's), driven over its DevTools protocol through a pipe: no port, no library.

    with Browser(profile) as b:
        b.open("https://10.77.0.1:9641/ui/")
        b.wait("document.querySelector('#nodes .node')")
"""
import base64, fcntl, json, os, select, shutil, subprocess, tempfile, time

WAIT_S = 20 * int(os.environ.get("SKEIN_SLOW", "1"))
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Backspace": 8}


def out_of_the_way(fd):
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return high


class Browser:
    def __init__(self, width=1280, height=800, prefix=()):
        """prefix: a command in front of the browser's, which keeps descriptors 3 and 4."""
        self.profile = tempfile.mkdtemp(prefix="skein-browser-")
        self.number = 0
        self.events = []
        self.rest = b""
        into, self.write_fd, self.read_fd, out = (out_of_the_way(fd) for fd in os.pipe() + os.pipe())
        # The program is to read its commands from 3 and answer on 4.
        script = f'exec 3<&{into} 4>&{out} {into}<&- {out}>&-; exec "$0" "$@"'
        self.child = subprocess.Popen(
            ["bash", "-c", script, *prefix, shutil.which("chromium"), "--headless=new", "--remote-debugging-pipe", "--no-sandbox",
             "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--no-first-run", "--ignore-certificate-errors", "--hide-scrollbars", "--force-color-profile=srgb",
             f"--user-data-dir={self.profile}", f"--window-size={width},{height}", "about:blank"],
            pass_fds=(into, out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(os.path.join(self.profile, "log"), "wb"), start_new_session=True)
        os.close(into)
        os.close(out)
        self.session = None
        target = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"][0]
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.size(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.close()

    def close(self):
        try:
            session, self.session = self.session, None
            self.call("Browser.close")
        except (OSError, RuntimeError):
            pass
        os.close(self.write_fd)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.child.pid, 9)  # its helpers write into the profile for a moment longer
        except ProcessLookupError:
            pass
        self.child.wait()
        os.close(self.read_fd)
        shutil.rmtree(self.profile, ignore_errors=True)
        shutil.rmtree(self.profile, ignore_errors=True)

    # ---- the protocol: JSON with a NUL behind

    def receive(self, until):
        while b"\0" not in self.rest:
            if not select.select([self.read_fd], [], [], max(0, until - time.monotonic()))[0]:
                return None
            more = os.read(self.read_fd, 1 << 20)
            if not more:
                raise RuntimeError("the browser has ended: " + open(os.path.join(self.profile, "log")).read()[-2000:])
            self.rest += more
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write_fd, data):]
        until = time.monotonic() + WAIT_S
        while True:
            answer = self.receive(until)
            if answer is None:
                raise RuntimeError(f"{method}: no answer in {WAIT_S} s")
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    # ---- what a person does and sees

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, expression):
        """The value of an expression in the page; promises are waited for."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(expression + ": " + json.dumps(result["exceptionDetails"])[:800])
        return result["result"].get("value")

    def wait(self, expression, seconds=WAIT_S):
        """Until the expression is true. It is asked in the page after each frame or so, not from here."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                value = self.run(f"new Promise((done) => {{ const end = Date.now() + 2000; const look = () => {{ let v = null; "
                                 f"try {{ v = {expression} }} catch (e) {{}} if (v || Date.now() > end) done(v || null); else setTimeout(look, 15); }}; look(); }})")
            except RuntimeError:
                continue  # the page was just being replaced
            if value is not None:
                return value
        raise AssertionError(f"gave up after {seconds} s waiting for: {expression}\npage: {self.text()[:3000]}")

    def text(self, selector="body"):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def click(self, selector):
        box = self.wait(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null; e.scrollIntoView({{block: 'nearest'}}); "
                        "const b = e.getBoundingClientRect(); return b.width ? {x: b.x + b.width / 2, y: b.y + b.height / 2} : null })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box["x"], y=box["y"], button="left", clickCount=1)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def key(self, name):
        key = {"key": name, "code": name, "windowsVirtualKeyCode": KEYS.get(name, ord(name[0].upper()))}
        if len(name) == 1:
            key["text"] = name
        if name == "Enter":
            key["text"] = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        key.pop("text", None)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def size(self, width, height, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)

    def media(self, scheme="light", motion="no-preference"):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion}])

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def complaints(self):
        """What the page's console says is wrong: exceptions, refused resources, violations of the policy."""
        out = []
        for event in self.events:
            p = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                out.append(json.dumps(p["exceptionDetails"])[:600])
            elif event["method"] == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
                out.append(p["entry"]["text"] + " " + p["entry"].get("url", ""))
            elif event["method"] == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning"):
                out.append(json.dumps(p["args"])[:600])
        return out

    def sign_in(self, url, token):
        self.open(url)
        self.wait("!document.querySelector('#gate').hidden")
        self.click("#token")
        self.type(token)
        self.key("Enter")
        self.wait("!document.querySelector('#app').hidden && document.querySelector('#live').dataset.state === 'live'")
