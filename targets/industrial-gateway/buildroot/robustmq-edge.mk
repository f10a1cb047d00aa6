################################################################################
#
# robustmq-edge: the static binary of a release; nothing is compiled
#
################################################################################

ROBUSTMQ_EDGE_VERSION = 0.1.0
# What targets/build.sh industrial-gateway gathered.
ROBUSTMQ_EDGE_SITE = $(ROBUSTMQ_EDGE_PKGDIR)/files
ROBUSTMQ_EDGE_SITE_METHOD = local
ROBUSTMQ_EDGE_LICENSE = Apache-2.0
ROBUSTMQ_EDGE_LICENSE_FILES = LICENSE

define ROBUSTMQ_EDGE_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/robustmq-edge $(TARGET_DIR)/usr/bin/robustmq-edge
	$(INSTALL) -D -m 0640 $(@D)/gateway.toml $(TARGET_DIR)/etc/robustmq-edge/gateway.toml
endef

define ROBUSTMQ_EDGE_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/robustmq-edge.service $(TARGET_DIR)/usr/lib/systemd/system/robustmq-edge.service
	$(INSTALL) -D -m 0644 $(@D)/data-partition.conf $(TARGET_DIR)/usr/lib/systemd/system/robustmq-edge.service.d/data-partition.conf
endef

define ROBUSTMQ_EDGE_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/S90robustmq-edge $(TARGET_DIR)/etc/init.d/S90robustmq-edge
endef

define ROBUSTMQ_EDGE_USERS
	robustmq-edge -1 robustmq-edge -1 * - - - MQTT gateway
endef

define ROBUSTMQ_EDGE_PERMISSIONS
	/etc/robustmq-edge d 750 root robustmq-edge - - - - -
	/etc/robustmq-edge/gateway.toml f 640 root robustmq-edge - - - - -
endef

$(eval $(generic-package))
