"""Embeddings, as OpenAI's clients ask for them and read them."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, StrictInt, StrictStr

from lockstep.api.schemas.body import Body

MAX_TEXTS = 256
MAX_TEXT_CHARS = 65_536

Text = Annotated[StrictStr, Field(min_length=1, max_length=MAX_TEXT_CHARS)]


class InputType(StrEnum):
    """What a text is to the model, which may have a prompt for each."""

    QUERY = "query"
    PASSAGE = "passage"


class Encoding(StrEnum):
    """How the numbers are written."""

    FLOAT = "float"
    BASE64 = "base64"  # of little-endian float32


class EmbeddingsBody(Body):
    hints: ClassVar[dict[str, str]] = {}

    model: Annotated[StrictStr, Field(max_length=63)] = Field(
        description="The corpus whose live model encodes."
    )
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]
    input_type: InputType = Field(
        InputType.QUERY, description="What the texts are to the model; not one of OpenAI's fields."
    )
    encoding_format: Encoding = Encoding.FLOAT
    dimensions: StrictInt | None = Field(
        None, description="A length that the model was trained for (Matryoshka)."
    )
    user: Annotated[StrictStr, Field(max_length=512)] | None = Field(
        None, description="Ignored; OpenAI's clients may send it."
    )


class EmbeddingView(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="L2-normalised.")


class UsageView(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsView(BaseModel):
    object: Literal["list"] = "list"
    data: list[EmbeddingView]
    model: str = Field(description="name@version of the model that encoded.")
    index_version: str = Field(description="The live index version, whose model it is.")
    usage: UsageView
