"""Opens a layer definition, a project or a service in QGIS and draws it: run by the Python that QGIS is installed for.

python3 read_in_qgis.py FILE|SOURCE WEST SOUTH EAST NORTH PICTURE: bounds in metres of EPSG:3857; SOURCE as QGIS's
provider of web maps reads it.
"""

import os
import sys
import xml.etree.ElementTree as ET

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsLayerDefinition,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def main() -> None:
    path, *bounds, picture = sys.argv[1:]
    application = QgsApplication([], False)
    application.initQgis()
    project = QgsProject.instance()
    if path.endswith(".qlr"):
        done, message = QgsLayerDefinition.loadLayerDefinition(path, project, project.layerTreeRoot())
    elif path.endswith(".qgs"):
        done, message = project.read(path), "the project cannot be read"
    else:
        layer = QgsRasterLayer(path, "service", "wms")
        done, message = layer.isValid(), "the service cannot be read"
        project.addMapLayer(layer)
    assert done, message
    settings = QgsMapSettings()
    settings.setLayers([node.layer() for node in project.layerTreeRoot().findLayers() if node.isVisible()])
    settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    settings.setExtent(QgsRectangle(*map(float, bounds)))
    settings.setOutputSize(QSize(256, 256))
    settings.setBackgroundColor(QColor(0, 0, 0))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    assert job.renderedImage().save(picture)
    report = ET.Element("report")
    for layer in project.mapLayers().values():
        assert layer.isValid(), layer.name()
        ET.SubElement(
            report,
            "layer",
            name=layer.name(),
            crs=layer.crs().authid(),
            source=layer.source(),
            attribution=layer.attribution(),
            rights=" ".join(layer.metadata().rights()),
        )
    sys.stdout.write(ET.tostring(report, encoding="unicode") + "\n")
    sys.stdout.flush()
    project.clear()
    application.exitQgis()


main()
