"""An API with types: /docs has its page, /items its data."""

import platform

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

app = FastAPI(title="Items", version="1.0.0")


class Item(BaseModel):
    name: str = Field(min_length=1, max_length=100)
    price: float = Field(gt=0)


items: dict[int, Item] = {}


@app.get("/")
async def about() -> dict[str, str | int]:
    return {"python": platform.python_version(), "items": len(items)}


@app.post("/items", status_code=201)
async def add(item: Item) -> dict[str, int]:
    number = len(items) + 1
    items[number] = item
    return {"id": number}


@app.get("/items/{number}")
async def show(number: int) -> Item:
    if number not in items:
        raise HTTPException(404, "no such item")
    return items[number]
