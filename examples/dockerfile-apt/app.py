import io

import flask
import qrcode
import qrcode.image.svg

app = flask.Flask(__name__)


@app.get("/")
def page():
    """Its own address as a picture that a telephone reads."""
    picture = io.BytesIO()
    qrcode.make(flask.request.url, image_factory=qrcode.image.svg.SvgPathImage).save(picture)
    return flask.Response(picture.getvalue(), mimetype="image/svg+xml")
