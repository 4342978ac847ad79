import { loadImages, saveImages } from './image-archive.ts';
import { createImage, pruneImages, pushImage, removeImage, tagImage } from './image-transfer.ts';
import { imageHistory, inspectImage, listImages } from './images.ts';
import type { Route } from './route.ts';

export const IMAGE_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/images/json',
    summary: 'Images of this node; every filter',
    handle: listImages,
    test: 'engine/docker-api/archives.test.ts',
  },
  {
    method: 'POST',
    path: '/images/create',
    summary: 'Pulls a tag, a digest or all tags, with progress, credentials and platform; or imports a file system',
    handle: createImage,
    test: 'engine/docker-api/registries.test.ts',
  },
  {
    method: 'POST',
    path: '/images/load',
    summary: 'Takes images from a Docker or OCI archive',
    handle: loadImages,
    test: 'engine/docker-api/archives.test.ts',
  },
  {
    method: 'POST',
    path: '/images/prune',
    summary: 'Removes images without a name; dangling',
    handle: pruneImages,
    test: 'engine/docker-api/images.test.ts',
  },
  {
    method: 'GET',
    path: '/images/get',
    summary: 'Several images as one archive',
    handle: saveImages,
    test: 'engine/docker-api/exact.test.ts',
  },
  {
    method: 'GET',
    path: '/images/{name}/get',
    summary: 'An image as a Docker and OCI archive',
    handle: saveImages,
    test: 'engine/docker-api/exact.test.ts',
  },
  {
    method: 'GET',
    path: '/images/{name}/json',
    summary: 'All that is known of one image',
    handle: inspectImage,
    test: 'engine/docker-api/server.test.ts',
  },
  {
    method: 'GET',
    path: '/images/{name}/history',
    summary: 'The steps that made it',
    handle: imageHistory,
    test: 'engine/docker-api/server.test.ts',
  },
  {
    method: 'POST',
    path: '/images/{name}/push',
    summary: 'Sends a tag or all of them to its registry, with progress',
    handle: pushImage,
    test: 'engine/docker-api/registries.test.ts',
  },
  {
    method: 'POST',
    path: '/images/{name}/tag',
    summary: 'Gives it one more name',
    handle: tagImage,
    test: 'engine/docker-api/images.test.ts',
  },
  {
    method: 'DELETE',
    path: '/images/{name}',
    summary: 'Takes a name away, and the image with the last',
    handle: removeImage,
    test: 'engine/docker-api/archives.test.ts',
  },
];
