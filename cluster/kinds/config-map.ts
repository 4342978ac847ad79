import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { forbidden, invalid, tooLong } from './field-errors.ts';
import { validateDataKeys } from './names.ts';
import { configMaps } from './resources.ts';
import type { ConfigMap } from './types/core.ts';

const DATA_LIMIT = 1024 * 1024;

export const configMapKind = defineKind(configMaps, {
  schemaName: 'io.k8s.api.core.v1.ConfigMap',
  shortNames: ['cm'],
  columns: [
    nameColumn,
    column<ConfigMap>(
      'Data',
      'integer',
      (map) => Object.keys(map.data ?? {}).length + Object.keys(map.binaryData ?? {}).length,
    ),
    ageColumn,
  ],
  validate: (object) => {
    const map = object as ConfigMap;
    const errors = [...validateDataKeys(map.data, 'data'), ...validateDataKeys(map.binaryData, 'binaryData')];
    for (const key of Object.keys(map.binaryData ?? {})) {
      if (map.data?.[key] !== undefined) errors.push(invalid('data', key, 'duplicate of key present in binaryData'));
    }
    const size = [...Object.values(map.data ?? {}), ...Object.values(map.binaryData ?? {})].reduce(
      (sum, value) => sum + value.length,
      0,
    );
    if (size > DATA_LIMIT) errors.push(tooLong('', DATA_LIMIT));
    return errors;
  },
  validateUpdate: (object, old) => {
    const [now, before] = [object as ConfigMap, old as ConfigMap];
    if (before.immutable !== true) return [];
    const text = 'field is immutable when `immutable` is set';
    if (now.immutable !== true) return [forbidden('immutable', text)];
    return (['data', 'binaryData'] as const)
      .filter((field) => JSON.stringify(now[field] ?? {}) !== JSON.stringify(before[field] ?? {}))
      .map((field) => forbidden(field, text));
  },
});
