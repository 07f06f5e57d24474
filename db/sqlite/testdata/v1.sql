PRAGMA application_id = 1852011628;
PRAGMA user_version = 1;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE objects (
	key      TEXT PRIMARY KEY,
	value    TEXT NOT NULL CHECK (json_valid(value)),
	schema   INTEGER NOT NULL,
	revision INTEGER NOT NULL -- that put the object
) STRICT;
INSERT INTO objects VALUES('/server','{"config":{"core.bgp_asn":"65001"}}',1,1);
INSERT INTO objects VALUES('/network/br0','{"type":"bridge","description":"customers","config":{"ipv4.address":"192.0.2.1/24"}}',1,2);
CREATE TABLE changes (
	revision INTEGER NOT NULL,
	key      TEXT NOT NULL,
	op       TEXT NOT NULL CHECK (op IN ('put', 'delete')),
	PRIMARY KEY (revision, key)
) STRICT, WITHOUT ROWID;
INSERT INTO changes VALUES(1,'/server','put');
INSERT INTO changes VALUES(2,'/network/br0','put');
CREATE TABLE store (
	id        INTEGER PRIMARY KEY CHECK (id = 1),
	revision  INTEGER NOT NULL, -- the latest
	compacted INTEGER NOT NULL  -- the latest that is no longer in changes
) STRICT;
INSERT INTO store VALUES(1,2,0);
CREATE VIEW networks AS
SELECT
	substr(key, length('/network/') + 1) AS name,
	value ->> '$.type'                   AS type,
	value ->> '$.description'            AS description,
	value -> '$.config'                  AS config,
	revision
FROM objects
WHERE key GLOB '/network/*' AND key NOT GLOB '/network/*/*';
CREATE VIEW network_members AS
SELECT
	substr(key, 10, instr(substr(key, 10), '/') - 1)           AS network,
	substr(key, 10 + instr(substr(key, 10), '/') + length('member/')) AS member,
	value -> '$.config'                                        AS config,
	revision
FROM objects
WHERE key GLOB '/network/*/member/*';
CREATE VIEW network_config AS
SELECT name AS network, NULL AS member, c.key, c.value
FROM networks, json_each(networks.config) AS c
UNION ALL
SELECT network, member, c.key, c.value
FROM network_members, json_each(network_members.config) AS c;
CREATE VIEW server AS
SELECT
	CASE key WHEN '/server' THEN NULL ELSE substr(key, length('/server/member/') + 1) END AS member,
	value -> '$.config' AS config,
	revision
FROM objects
WHERE key = '/server' OR key GLOB '/server/member/*';
CREATE VIEW server_config AS
SELECT member, c.key, c.value
FROM server, json_each(server.config) AS c;
COMMIT;
