"""Counts the visits of each instance, and says what it runs on."""

import os
import platform
from itertools import count

from flask import Flask, jsonify

app = Flask(__name__)
visits = count(1)


@app.get("/")
def hello():
    return f"Hello from Python {platform.python_version()}! This is instance {os.environ.get('CF_INSTANCE_INDEX', '0')}.\n"


@app.get("/visits")
def visited():
    return jsonify(visits=next(visits), instance=os.environ.get("CF_INSTANCE_INDEX"))
