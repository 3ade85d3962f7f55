"""Pictures of walking robots without a graphics driver: capsules and spheres seen from the side."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module ships no types.)

import mujoco
import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 400, 240
SUPERSAMPLE = 2
METRES = 3.2  # across the picture
SKY, WALL, GROUND, LINE, TEXT = (
    (238, 243, 248),
    (176, 166, 158),
    (205, 212, 204),
    (150, 160, 150),
    (70, 80, 90),
)
FAR, NEAR = np.array([170, 120, 80]), np.array([214, 143, 84])


def side_view(model: mujoco.MjModel, qpos: np.ndarray, geom_pos: np.ndarray) -> np.ndarray:
    """`[height, width, 3]` bytes: the robot in the plane of x and z, with a mark at every metre.

    Boxes, which belong to the world, stand where `geom_pos` `[geoms, 3]` has them.
    """
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    scale = WIDTH * SUPERSAMPLE / METRES
    centre, floor = data.xpos[1, 0], HEIGHT * SUPERSAMPLE * 0.85

    def pixel(point: np.ndarray) -> tuple[float, float]:
        return (
            WIDTH * SUPERSAMPLE / 2 + (point[0] - centre) * scale,
            floor - point[2] * scale,
        )

    image = Image.new("RGB", (WIDTH * SUPERSAMPLE, HEIGHT * SUPERSAMPLE), SKY)
    draw = ImageDraw.Draw(image)
    for box in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_BOX):
        half = model.geom_size[box] * (1, 1, -1)  # a picture's corners go down, z goes up
        draw.rectangle((*pixel(geom_pos[box] - half), *pixel(geom_pos[box] + half)), fill=WALL)
    draw.rectangle((0, floor, image.width, image.height), fill=GROUND)
    for metre in range(int(np.floor(centre - METRES)), int(np.ceil(centre + METRES)) + 1):
        x = pixel(np.array([metre, 0, 0]))[0]
        draw.line((x, floor, x, floor + 16), fill=LINE, width=3)
        draw.text((x + 6, floor + 8), f"{metre} m", fill=TEXT, font_size=20)
    bodies = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] > 0]
    for geom in sorted(bodies, key=lambda geom: -data.geom_xpos[geom, 1]):
        radius, half = model.geom_size[geom, :2]
        capsule = model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE
        axis = data.geom_xmat[geom].reshape(3, 3)[:, 2] * (half if capsule else 0.0)
        ends = pixel(data.geom_xpos[geom] - axis), pixel(data.geom_xpos[geom] + axis)
        nearness = np.clip(0.5 - data.geom_xpos[geom, 1], 0.0, 1.0)
        fill = tuple(int(c) for c in FAR + (NEAR - FAR) * nearness)
        for width, tint in ((radius * scale + 2, (90, 60, 40)), (radius * scale, fill)):
            draw.line((*ends[0], *ends[1]), fill=tint, width=int(2 * width))
            for x, y in ends:
                draw.ellipse((x - width, y - width, x + width, y + width), fill=tint)
    return np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
