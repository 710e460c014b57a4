"""Index specs: everything besides the model version that shapes the vectors of an index."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lockstep.errors import SearchUnsupported
from lockstep.index.late_interaction import LateInteraction
from lockstep.lexical.bm25 import Bm25Settings
from lockstep.models.manifest import ModelManifest
from lockstep.store.payload_indexes import COUNTED_TYPES, PayloadType, check_payload_indexes
from lockstep.store.port import METADATA, PASSAGE, CollectionSchema

DEFAULT_PREFILTER_DIM = 64

Datatype = Literal["float32", "float16"]
Quantization = Literal["none", "int8"]


@dataclass(frozen=True)
class SpecOptions:
    """What a user may choose; the rest follows from the model version and the corpus.

    `prefilter_dim` None takes 64 where the model version was trained so that its first 64
    dimensions stand alone (Matryoshka); 0 builds no prefilter; another number forces that one.
    `payload_indexes` names metadata fields to filter by quickly and to count the values of.
    `late_interaction` is the model version whose token vectors are to be kept, for reranking.
    `fp8` lets a build multiply in eight bits where its card can; queries never are.
    """

    window_tokens: int | None = None
    prefilter_dim: int | None = None
    language: str = "english"
    datatype: Datatype = "float32"
    quantization: Quantization = "int8"  # half the time to search and to build, recall the same
    payload_indexes: Mapping[str, PayloadType] = field(default_factory=dict)
    late_interaction: LateInteraction | None = None
    fp8: bool = False

    def __post_init__(self) -> None:
        check_payload_indexes(self.payload_indexes)


@dataclass(frozen=True)
class IndexSpec:
    """How documents become points. Stored with the index version and never changed after."""

    window_tokens: int  # of one passage: its title, its text and the special tokens
    prefilter_dim: int | None
    bm25: Bm25Settings
    datatype: Datatype = "float32"
    quantization: Quantization = "none"
    hnsw_m: int = 16
    hnsw_ef_construct: int = 400  # with 100, MedQuAD lost one in forty nearest neighbours
    payload_indexes: Mapping[str, PayloadType] = field(default_factory=dict)  # by metadata field
    late_interaction: LateInteraction | None = None
    # Whether a build may encode passages in eight bits; the version says whether one did.
    fp8: bool = False

    def schema(self, dim: int) -> CollectionSchema:
        """The collection that holds vectors of `dim` dimensions under this spec."""
        return CollectionSchema(
            dense_dim=dim,
            prefilter_dim=self.prefilter_dim,
            hnsw_m=self.hnsw_m,
            hnsw_ef_construct=self.hnsw_ef_construct,
            datatype=self.datatype,
            quantization=self.quantization,
            payload_indexes=self._stored_indexes(),
            late_dim=self.late_interaction.dim if self.late_interaction else None,
        )

    def _stored_indexes(self) -> dict[str, PayloadType]:
        stored = {f"{METADATA}.{name}": kind for name, kind in self.payload_indexes.items()}
        if COUNTED_TYPES.intersection(stored.values()):
            # Values are counted once per document, by its first passage: a hundred times faster so.
            stored[PASSAGE] = "integer"
        return stored

    def to_json(self) -> dict[str, Any]:
        """Without what came later and is not used: the specs of before stay as they were."""
        fields = asdict(self)
        for name in ("payload_indexes", "late_interaction", "fp8"):
            if not fields[name]:
                del fields[name]
        if not self.bm25.nfkc:
            del fields["bm25"]["nfkc"]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "IndexSpec":
        late = fields.get("late_interaction")
        return cls(
            **{
                **fields,
                "bm25": Bm25Settings(**{"nfkc": False, **fields["bm25"]}),
                "late_interaction": LateInteraction(**late) if late else None,
            }
        )

    def matches(self, options: SpecOptions, manifest: ModelManifest) -> bool:
        """Whether the same options on the same model would give this spec again."""
        return self == resolve(options, manifest, self.bm25.avg_length)


def resolve(options: SpecOptions, manifest: ModelManifest, avg_length: float) -> IndexSpec:
    """Fill in what the options leave to the model version and the corpus.

    A passage is no longer than what each of its models sees, as far as they count tokens alike.
    Raises SearchUnsupported where a forced prefilter is not shorter than the vectors.
    """
    late = options.late_interaction
    longest = min(manifest.max_tokens, late.max_tokens if late else manifest.max_tokens)
    return IndexSpec(
        window_tokens=min(options.window_tokens or longest, longest),
        prefilter_dim=_prefilter_dim(options.prefilter_dim, manifest),
        bm25=Bm25Settings(language=options.language, avg_length=avg_length),
        datatype=options.datatype,
        quantization=options.quantization,
        payload_indexes=dict(sorted(options.payload_indexes.items())),
        late_interaction=late,
        fp8=options.fp8,
    )


def _prefilter_dim(asked: int | None, manifest: ModelManifest) -> int | None:
    if asked is None:
        return DEFAULT_PREFILTER_DIM if DEFAULT_PREFILTER_DIM in manifest.matryoshka_dims else None
    if asked >= manifest.dim or asked < 0:
        raise SearchUnsupported(
            f"A prefilter of {asked} dimensions was asked for; the model gives {manifest.dim}.",
            next_step=f"Choose fewer than {manifest.dim}, or 0 for none.",
        )
    return asked or None
