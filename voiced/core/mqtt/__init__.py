"""What voiced says and understands on MQTT: topics, payloads, commands.

:mod:`~voiced.core.mqtt.topics` is the one table; :mod:`~voiced.core.mqtt.payloads` what goes out;
:mod:`~voiced.core.mqtt.commands` what comes in, and :mod:`~voiced.core.mqtt.parsing` reads it.
"""
