/** bin/detect of the php buildpack, when there is a file of the language. */
import { detectLanguage } from '../../../lifecycle/version-choice.ts';
import { choosePhp } from './version.ts';

detectLanguage('php', choosePhp(process.env));
