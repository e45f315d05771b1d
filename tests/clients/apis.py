# What official API clients get through the Worker. It runs after the `python` blocks of
# docs/clients.md, which make the clients, in one file; the test upstream plays the APIs.
import faulthandler
import re
import urllib.request

faulthandler.dump_traceback_later(60, exit=True)

gateway = os.environ["GATEWAY"]
messages = [{"role": "user", "content": "Hello"}]


def streamed(pieces, gate):
    """The pieces of a stream. The upstream sends the first, and waits with the rest until the gate
    is open: an answer that does not stream never comes to its end."""
    got = []
    for piece in filter(None, pieces):
        got.append(piece)
        if len(got) == 1:
            urllib.request.urlopen(f"{os.environ['STAND_IN']}/open/{gate}").close()
    return got


def refused(call, error, status, message):
    try:
        call()
    except error as refusal:
        told = getattr(refusal, "status_code", None) or refusal.http_status
        assert told == status and re.search(message, str(refusal)), refusal
        assert "5ecret" not in str(refusal)
        return refusal
    raise AssertionError(f"no {error}")


def same(got, wanted):
    assert got == wanted, got


# By its base URL, with a bearer.
for client in [openai_client, openai.OpenAI()]:
    answer = client.chat.completions.create(model="any", messages=messages)
    same(answer.choices[0].message.content, "Hello there!")
gate = "openai-python"
stream = openai_client.chat.completions.create(
    model="any", messages=messages, stream=True, user=gate
)
said = streamed((chunk.choices[0].delta.content for chunk in stream), gate)
same(said, ["Hello", " there", "!"])
file = openai_client.files.create(file=("a.jsonl", b"x" * 300_000), purpose="batch")
same((file.filename, file.purpose, file.bytes), ("a.jsonl", "batch", 300_000))
# It tries again by itself after a 429.
models = openai_client.models
same([it.id for it in models.list()], ["gpt-5"])
error = refused(lambda: models.retrieve("no-such-model"), openai.NotFoundError, 404, "not exist")
same(error.code, "model_not_found")
stranger = openai_client.with_options(api_key="wrong")
refused(stranger.models.list, openai.AuthenticationError, 401, "401")
lost = openai_client.with_options(base_url=f"{gateway}/proxy/unreachable", max_retries=1)
refused(lost.models.list, openai.InternalServerError, 502, "502")

# By its base URL, with a header of its own.
wanted = {"model": "any", "messages": messages, "max_tokens": 9}
for client in [anthropic_client, anthropic.Anthropic()]:
    same(client.messages.create(**wanted).content[0].text, "Hello there!")
gate = "anthropic-python"
with anthropic_client.messages.stream(**wanted, metadata={"user_id": gate}) as stream:
    same(streamed(stream.text_stream, gate), ["Hello", " there", "!"])
    same(stream.get_final_message().stop_reason, "end_turn")
# It tries again by itself after a 529.
same([it.id for it in anthropic_client.models.list(limit=1)], ["claude-1"])
none = {**wanted, "model": "no-such-model"}
refused(
    lambda: anthropic_client.messages.create(**none),
    anthropic.NotFoundError,
    404,
    "model: no-such-model",
)
stranger = anthropic_client.with_options(api_key="wrong")
refused(
    lambda: stranger.messages.create(**wanted),
    anthropic.AuthenticationError,
    401,
    "Authentication required",
)

# By its base address. It tries again by itself after a 503, with the same idempotency key.
customers = stripe_client.v1.customers
same(customers.create({"email": "a@example.com"}).id, "cus_1")
same(
    [it.id for it in customers.list({"limit": 2}).auto_paging_iter()],
    ["cus_1", "cus_2", "cus_3"],
)
charge = {"amount": 1, "currency": "eur", "source": "tok_chargeDeclined"}
error = refused(
    lambda: stripe_client.v1.charges.create(charge), stripe.CardError, 402, "card was declined"
)
same((error.code, error.request_id), ("card_declined", "req_1"))
refused(
    lambda: customers.retrieve("cus_1", options={"api_key": "wrong"}),
    stripe.APIError,
    401,
    "Authentication required",
)
