#!/usr/bin/env python3
"""A Django project in one file, whose users chat over Waystation.

    chat_site.py [ADDRESS] [--relay ADDRESS] [--key-file FILE | --auth-request]

Django logs the users in, with its own forms and sessions. The relay needs one of two things from it:
a signed token in a cookie (`chat_token`), or a view that nginx asks (`session`). README.md in this folder
shows how to run it, and the one in ../auth_request with nginx. Needs Django 3.2 or later.
"""
import argparse
import base64
import functools
import hashlib
import hmac
import json
import pathlib
import secrets
import time
import urllib.request

import django
from django.conf import settings

HERE = pathlib.Path(__file__).resolve().parent

parser = argparse.ArgumentParser(description="A site with a login and a chat.")
parser.add_argument("address", nargs="?", default="127.0.0.1:8000", help="where the site listens")
parser.add_argument("--relay", default="127.0.0.1:8080", help="where waystation serve listens")
parser.add_argument("--key-file", default="key", type=pathlib.Path, help="the relay's jwt_key_file")
parser.add_argument("--auth-request", action="store_true", help="nginx in front asks /session/ for the user, and passes sockets on")
parser.add_argument("--database", default="chat_site.sqlite3", help="Django's users and sessions")
options = parser.parse_args()
if not options.auth_request and not options.key_file.is_file():
    parser.error(f"--key-file {options.key_file}: not found; to create it: (umask 077; openssl rand -base64 32 > {options.key_file})")

settings.configure(
    SECRET_KEY=secrets.token_hex(),  # a new one ends all sessions: a real site keeps its own
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        *([] if options.auth_request else [__name__ + ".chat_token"]),
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": options.database}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    SESSION_COOKIE_AGE=12 * 3600,
    SESSION_SAVE_EVERY_REQUEST=True,  # the session and the token end at the same time
    LOGIN_URL="/login/",
    LOGIN_REDIRECT_URL="/",
    LOGOUT_REDIRECT_URL="/login/",
)
django.setup()

from django.contrib.auth import views  # noqa: E402
from django.contrib.auth.decorators import login_required  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.signals import user_logged_in, user_logged_out  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.dispatch import receiver  # noqa: E402
from django.http import FileResponse, HttpResponse  # noqa: E402
from django.template import engines  # noqa: E402
from django.urls import path  # noqa: E402

# ---- the chat ------------------------------------------------------------------------------------

TOKEN_COOKIE = "waystation_token"


def sign(user, seconds, **claims):
    """A token for the relay: `user` is 1 to 64 of the characters 0-9 and a-z."""
    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    key = base64.b64decode(options.key_file.read_text())
    claims = {"sub": user, "exp": int(time.time()) + seconds, **claims}
    text = encode(b'{"alg":"HS256"}') + b"." + encode(json.dumps(claims).encode())
    return (text + b"." + encode(hmac.digest(key, text, hashlib.sha256))).decode()


def chat_token(get_response):
    """Middleware: who is logged in has a token for the chat. It works with any login view."""
    def respond(request):
        response = get_response(request)
        if request.user.is_authenticated:
            response.set_cookie(TOKEN_COOKIE, sign(str(request.user.pk), settings.SESSION_COOKIE_AGE),
                                max_age=settings.SESSION_COOKIE_AGE, httponly=True, samesite="Lax", secure=request.is_secure())
        elif TOKEN_COOKIE in request.COOKIES:
            response.delete_cookie(TOKEN_COOKIE)
        return response
    return respond


def call_relay(method, where, value=None):
    """A call of the relay's HTTP API. Its failure is no reason to refuse a login."""
    if options.auth_request:  # the relay believes header fields from this machine, in trusted_proxies
        caller = {"X-Forwarded-User": "django", "X-Forwarded-Scopes": "push admin"}
    else:
        caller = {"Authorization": "Bearer " + sign("django", 60, scope="push admin")}
    request = urllib.request.Request(f"http://{options.relay}/api/v1/{where}", method=method,
                                     data=None if value is None else json.dumps(value).encode(),
                                     headers={"Content-Type": "application/json", **caller})
    try:
        urllib.request.urlopen(request, timeout=2).close()
    except OSError as error:
        print(f"relay: {method} {where}: {error}", flush=True)


@receiver(user_logged_in)
def notify(user, **_):
    """Replaces `channel_layer.group_send`: a notification to each tab in which the user is logged in."""
    call_relay("POST", f"push/{user.pk}", {"title": "New login of your account"})


@receiver(user_logged_out)
def end_sockets(user, **_):
    if user is not None:
        call_relay("DELETE", f"sessions/{user.pk}")


def session(request):
    """For nginx with auth_request: says whose session this is."""
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    response = HttpResponse(status=204)
    response["X-User"] = str(request.user.pk)
    return response


# ---- the site ------------------------------------------------------------------------------------

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Chat</title>
{% if form %}
<form method="post">{% csrf_token %}{{ form.as_p }}<button class="login">Log in</button></form>
{% else %}
<form method="post" action="/logout/">{% csrf_token %}You are <b class="me">{{ user.username }}</b>. <button class="logout">Log out</button></form>
<div id="chat"></div>
{{ data|json_script:"chat-data" }}
<script src="/vue.js"></script>
<script src="/chat.js"></script>
{% endif %}
</html>
"""


def show(request, context):
    return HttpResponse(engines["django"].from_string(PAGE).render(context, request))


@login_required
def home(request):
    users = [{"id": user.pk, "name": user.username} for user in User.objects.all()]
    relay = "" if options.auth_request else options.relay
    return show(request, {"user": request.user, "data": {"me": request.user.pk, "users": users, "relay": relay}})


class Login(views.LoginView):
    def render_to_response(self, context, **_):
        return show(self.request, context)


def send_file(_, file):
    return FileResponse(file.open("rb"), content_type="text/javascript")


urlpatterns = [
    path("", home),
    path("login/", Login.as_view()),
    path("logout/", views.LogoutView.as_view()),
    path("session/", session),
    path("chat.js", functools.partial(send_file, file=HERE / "chat.js")),
    # Vue, as `npm ci` in www/ installs it. Your own site has it in its build.
    path("vue.js", functools.partial(send_file, file=HERE.parents[2] / "www/node_modules/vue/dist/vue.global.prod.js")),
]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    for name in ("alice", "bob"):
        if not User.objects.filter(username=name).exists():
            User.objects.create_user(name, password=name + "-demo")
    call_command("runserver", options.address, use_reloader=False)
